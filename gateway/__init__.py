"""An email ⇄ fax gateway. Outbound and inbound are seen from the fax network.

Doors let work in: they make it durable, then acknowledge. Rooms do one step each: a fax in one
state comes in, the fax in its next state goes out. The worker is one loop for all rooms and alone
claims, times, retries, fails, holds and saves. The store remembers, the spool keeps documents.

    smtp            → intake   → prepare → submit → track → notify   mail → fax
    webhook | poll  → announce → fetch → deliver (route) → settle    fax → mail

`app.py` introduces everyone; `tests/test_map.py` says who may know whom.
"""
