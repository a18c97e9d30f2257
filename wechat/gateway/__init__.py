"""The only door to the platforms: clients for official accounts, WeCom and WeChat Pay.

Every call has time-outs, is repeated only where repeating is harmless, and fails with a typed `wechat.errors` error.
"""
