"""What the step programs share: input document, log lines, termination message, errors, the guest, the cluster."""
