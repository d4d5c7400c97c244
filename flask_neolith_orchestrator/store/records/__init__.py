"""What is kept beside the talk: money, notices, what people look up later, and what is forgotten by age."""
