"""The price of a cart, as ordered pure steps: no Django, no clock, no database. Start at `shop.pricing.types`."""
