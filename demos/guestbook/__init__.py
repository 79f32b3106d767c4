"""A guestbook, five times: each folder adds one idea to the one before. `demos/README.md` has the order."""
