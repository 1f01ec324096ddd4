mod crash;
mod windows;
