"""Mail from a mailbox: numbers in addresses and Subject, committed, then flagged, then moved."""

from gateway.doors.imap.box import ImapDoor
from gateway.doors.imap.settings import ImapSettings

__all__ = ["ImapDoor", "ImapSettings"]
