"""What the flow tests share. Nothing in here is the program under test: it starts programs and
brokers, and it is the independent witness on the wire."""
