"""The cluster: what GoldenPipe creates in it and what it has seen of it. Only this room talks to the Kubernetes API."""
