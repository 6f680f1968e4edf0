"""Small, copyable helpers of the course: one module a subject, named by its field's term."""
