"""A model behind an HTTP endpoint as an oracle: the contract, answered by requests.

- `adapters`: from settings to an adapter, and what the endpoint is known by;
- `gated`: what both kinds of oracle below have;
- `text_oracle`: an endpoint that takes text (or classes of its own) and images;
- `soft_oracle`: an endpoint that speaks craft-ray's own protocol, soft prompts included;
- `records`: where what is asked and answered is put on record;
- `listening`: whether anybody listens at the address;
- `opening`: keys, the gate that sends and counts, and the oracle over it.

`oracle.endpoints` says what is sent, `oracle.gate` sends it.
"""
