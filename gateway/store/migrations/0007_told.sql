-- How many mails went to a sender in an hour. Of a fax that has ended, `told` means: 1 = by mail; later
-- than that, the time of the mail that it waits for together with others of its sender.
CREATE INDEX fax_told ON fax (sender, since) WHERE state = 'closed' AND told = 1;
