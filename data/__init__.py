"""The data of the course, what makes it, and the recorder of experiments."""
