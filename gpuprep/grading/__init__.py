"""The trusted side: makes inputs, judges outputs, decides."""
