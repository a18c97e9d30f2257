"""Where an order is served from: pure rules, each decision with its reason. No Django, no clock, no database."""
