"""The shop: catalogue, stock, cart, orders, payment, shipping."""
