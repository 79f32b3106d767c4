"""The apps that the tests of `bridge serve` serve, each in a process of its own."""
