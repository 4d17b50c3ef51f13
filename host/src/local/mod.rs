pub mod issuer;
mod jwt;
pub mod oidc;
