"""What is kept beside the talk: money, what people were told of, and what is forgotten by age."""
