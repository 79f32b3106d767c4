"""Mail: by the server that MAIL_SERVER names, or else only a line in the log."""

import logging
import smtplib
from email.message import EmailMessage

from flask import current_app

logger = logging.getLogger(__name__)


def send(to: str, subject: str, text: str) -> None:
    """Send a mail, and wait for the server to take it.

    Raises:
        OSError: it cannot be reached, or refuses; smtplib's errors are of this type.
    """
    server = current_app.config["MAIL_SERVER"]
    if not server:
        logger.info("mail to %s: %s: %s", to, subject, text)
        return
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = current_app.config["MAIL_SENDER"], to, subject
    message.set_content(text)
    host, _, port = server.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=10) as connection:
        connection.send_message(message)
