"""Where the heart lies in a CT without a label, found by comparison with annotated CTs, its atlases."""
