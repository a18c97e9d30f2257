"""Broadcasts, win-back and what else is planned and sent to members."""
