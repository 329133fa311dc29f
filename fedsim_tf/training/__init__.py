"""The stages of learning, each resumable, and the state that they move."""
