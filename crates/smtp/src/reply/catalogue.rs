//! Every reply that Postern ever sends, in one place.
