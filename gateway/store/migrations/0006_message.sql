-- Small mails: a file of their own would cost two more syncs of the disk for each (store.SMALL).
CREATE TABLE message (
    fax TEXT PRIMARY KEY REFERENCES fax (id),
    content BYTEA NOT NULL
);
