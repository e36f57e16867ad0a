"""The soak: random faults for as long as one likes, and an oracle that knows what should have come through."""
