"""The demo brand 池塘香氛: perfume and fashion, three stores, 2,000 members and a year of history from a fixed seed."""
