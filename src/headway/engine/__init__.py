"""The compiled CPU engine: a model by protocol, computed in C++, the same to the last bit however it is asked."""
