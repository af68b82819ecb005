"""Fine-tunings for users of a service, in the shape of OpenAI's files and fine-tuning."""
