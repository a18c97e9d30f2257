"""A stand-in for WeChat Official Accounts, WeCom and WeChat Pay, with a phone in the browser.

Its own process and its own state, spoken to only by HTTP. It imports nothing of Pond, and nothing of
Pond imports it. Rules and limits follow the vendors' published documents; README.md lists them.
"""
