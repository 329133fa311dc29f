"""Tools beside a run: prepare data, build a shape model, segment, render the patients of another hospital."""
