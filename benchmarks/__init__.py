"""What the SDK costs per call, per open stream and at start-up, next to httpx, a bare socket and Node."""
