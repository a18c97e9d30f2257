"""WeChat, WeCom and WeChat Pay: accounts, the gateway to the platforms, webhooks, outbound messages."""
