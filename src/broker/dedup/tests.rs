mod crash;
mod policies;
mod windows;
