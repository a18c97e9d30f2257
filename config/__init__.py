"""Settings, addresses, schedule and embedded services."""
