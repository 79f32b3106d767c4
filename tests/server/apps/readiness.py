"""Checks of whether an app can serve."""


def yes() -> bool:
    return True


def no() -> bool:
    return False


async def later_no() -> bool:
    return False
