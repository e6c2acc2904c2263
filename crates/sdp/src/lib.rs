//! Offers and answers.
