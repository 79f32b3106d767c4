"""Small apps to run with `bridge serve`; each says on top how, and what it shows."""
