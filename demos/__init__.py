"""Small apps to run from a clone with `bridge serve`; each says on top how, and what it shows."""
