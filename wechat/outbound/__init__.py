"""How a touch leaves the house: rows that are jobs, quotas, outcomes, and the platforms' later results."""
