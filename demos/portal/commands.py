"""Commands: `flask --app demos.portal create-admin`, and so on."""

import asyncio
import signal

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy import select

from demos.portal.blueprints.fields import MIN_PASSWORD
from demos.portal.extensions import db
from demos.portal.jobs import worker
from demos.portal.models import Member, Role


def register(app: Flask) -> None:
    """Add them to the app's `flask` command."""
    app.cli.add_command(create_admin)
    app.cli.add_command(work)


@click.command("create-admin")
@click.argument("email")
@click.option("--name", default="Admin", help="As it is shown.")
@click.password_option(help="Asked for, if not given: what is typed here is seen by other users.")
@with_appcontext
def create_admin(email: str, name: str, password: str) -> None:
    """Make an account that is an admin's, or one there is into one, with this password."""
    if len(password) < MIN_PASSWORD:
        raise click.BadParameter(f"a password has at least {MIN_PASSWORD} characters")
    email = email.strip().lower()
    member = db.session.scalar(select(Member).where(Member.email == email))
    if member is None:
        member = Member(email=email, name=name)
        db.session.add(member)
    member.role, member.is_active = Role.ADMIN, True
    member.set_password(password)
    member.end_sessions()
    db.session.commit()
    click.echo(f"{email} is an admin.")


@click.command("work")
@with_appcontext
def work() -> None:
    """Do jobs in this process, until Ctrl-C or SIGTERM; serve with JOB_WORKERS=0 then."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy has it

    async def until_told() -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        click.echo("waiting for jobs · Ctrl-C to stop")
        await worker.work(app, stopping)

    asyncio.run(until_told())
