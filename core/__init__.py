"""Clock, money, locks, events, jobs and ledger: what every other app stands on. No business of its own."""
