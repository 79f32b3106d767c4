"""A Flask app on AWS Lambda, behind a function URL, API Gateway or a load balancer: `handler.handler`."""

from mangum import Mangum
from shop import app

from bridge import WSGIToASGI

# One thread: Lambda gives each instance one request at a time.
handler = Mangum(WSGIToASGI(app, threads=1))
