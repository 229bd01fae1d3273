"""What texts look like to a model, so that live texts can be compared with those it was measured on."""
