"""What looks at an app without serving it: `bridge routes`, `bridge check` and `bridge trace`.

- `command` is their command line. `routes` lists rules, `checking` sends requests and collects what is wrong,
  with the help of `validating`; `output` prints what they find, and `tracing` a trace by `bridge.trace`.
- The app is loaded and adapted as `bridge serve` would. No server imports this room.
"""
