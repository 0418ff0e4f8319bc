"""Mail: one server and its addresses, and sending a text by it (RFC 5321, RFC 3207 STARTTLS, RFC 8314 implicit TLS).

Belongs here: reading the address of a mail server, and sending. Does not belong here: what is sent
(`dagster_defs/alerts.py`).
"""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

_PORTS = {"smtp": 587, "smtps": 465}
"""Submission with STARTTLS, and with TLS from the start (RFC 8314)."""

FORM = "smtps://USER:PASSWORD@HOST:PORT?from=ADDRESS&to=ADDRESS,ADDRESS"
"""How a server is given: smtps is TLS from the start, smtp is STARTTLS; USER:PASSWORD@ and :PORT may be left out."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """A server that takes mail, and between whom.

    Args:
        host, port: the server.
        is_tls: whether the connection is encrypted from its start.
        user, password: what it wants to know; None for nothing.
        sender: the address that the mail is from.
        recipients: the addresses that it goes to.
    """

    host: str
    port: int
    is_tls: bool
    user: str | None
    password: str | None = field(repr=False)
    sender: str
    recipients: tuple[str, ...]

    @classmethod
    def parse(cls, url: str) -> MailServer:
        """Reads the form FORM.

        Raises:
            ValueError: it is not of that form. The text does not repeat it: it may hold a password.
        """
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        recipients = tuple(address.strip() for address in query.get("to", "").split(",") if address.strip())
        addresses = (query.get("from", ""), *recipients)
        are_addresses = bool(recipients) and all("@" in one for one in addresses)
        if parts.scheme not in _PORTS or not parts.hostname or not are_addresses:
            raise ValueError(f"it must be {FORM}")
        user, password = (None if text is None else unquote(text) for text in (parts.username, parts.password))
        port = parts.port or _PORTS[parts.scheme]
        return cls(parts.hostname, port, parts.scheme == "smtps", user, password, query["from"], recipients)

    def send(self, subject: str, text: str, timeout: float) -> None:
        """Sends a mail.

        Args:
            subject: one line.
            text: the mail.
            timeout: seconds to wait for each answer of the server.

        Raises:
            OSError: the server cannot be reached, or does not take it (`smtplib.SMTPException`, too).
        """
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = subject, self.sender, ", ".join(self.recipients)
        message.set_content(text)
        context = ssl.create_default_context()
        if self.is_tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=timeout, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=timeout)
        with server:
            server.ehlo()
            if not self.is_tls and server.has_extn("starttls"):
                server.starttls(context=context)
            elif not self.is_tls and self.user is not None:
                raise smtplib.SMTPNotSupportedError("no STARTTLS, and a password is not sent without encryption")
            if self.user is not None:
                server.login(self.user, self.password or "")
            server.send_message(message)
