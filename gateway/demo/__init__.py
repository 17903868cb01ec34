"""The demo: the whole product on loopback, and the mailbox that shows its mails."""
