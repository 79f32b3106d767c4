"""Background jobs: a queue in the database, a worker in each process, and the kinds of work.

queue.py       put a job in, take one, do a step, try again or give up: all that touches the table
worker.py      the task in the server's lifespan that does so until the server ends
report.py      a kind: a year's bookings as CSV
reminders.py   a kind: a mail to everybody who rows tomorrow
"""
