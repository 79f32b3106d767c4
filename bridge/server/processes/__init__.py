"""The processes of `bridge serve`: how they start, are watched, replaced and ended.

- `server` is one process that serves; `supervisors` and `worker` keep several, `preloading` forks them.
- `fleet` is pure: the states of workers, and what each event makes of them.
- `sockets` and `systemd` are the ends towards the system; `ending` bounds the end of every process.
"""
