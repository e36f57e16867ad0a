"""The load: hundreds of backends at once, used, left and ended in every way, and an oracle that watches."""
