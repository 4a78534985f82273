"""Moving data off the predecessor's volumes: verification and restore."""
