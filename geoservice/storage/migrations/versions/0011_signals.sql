-- Order is kept for each source of a phone: its fixes (`newest_at`), its scans for beacons, its operating system's events.
alter table devices add column newest_beacons_at timestamptz;
alter table devices add column newest_os_at timestamptz;
