# What an API is asked for, and what it is compared with: one key of many records, and all of them with what was sent.
use strict;
use warnings;

use Bench;
use JSON::PP ();

# Foreign tables of the same n records in the application: "asked" says what the API takes, "all" does not.
sub declare_records
{
	my ($s, $n) = @_;
	my $json = JSON::PP->new->canonical;
	my %object = (path => '/objects/item', key => 'id', columns => { id => 'bigint', name => 'text', mail => 'text', orders => 'integer', spent => 'numeric', vip => 'boolean' });
	my %read = (records => 'data', page => { style => 'cursor', param => 'cursor', next => 'paging.next', size_param => 'limit', size => 1000 });
	my %write = (upsert => { method => 'POST', path => '/objects/item/batch/upsert', query => { shape => 'array' }, batch => 1000, answer => { shape => 'array', status => 'status', error => 'error' } });

	$s->run("SELECT activate_target('api', 'rest', \$definition\$" . $json->encode({ base_url => service()->url, objects => {
		all => { %object, read => \%read, write => \%write },
		asked => { %object, read => { %read, filter => { id => 'eq.id' } } } } }) . "\$definition\$)");
	$s->run("CREATE TABLE item AS SELECT i AS id, 'customer ' || i AS name, 'customer.' || i || '\@example.org' AS mail, (i % 50)::integer AS orders, (i % 100000) / 100.0 AS spent, i % 7 = 0 AS vip
		FROM generate_series(1::bigint, $n) i; ALTER TABLE item ADD PRIMARY KEY (id);
		SELECT activate_sync('item', 'item', 'api.all')");
	$s->run("SELECT activate_run('item')");
	$s->run("SELECT activate_wait('item', '60 minutes')") eq 't' or die "not everything was delivered\n";
	$s->run("SELECT count(*) FROM api.all") == $n or die "the application does not hold everything\n";
	return;
}

figure api_key => sub {
	my ($s) = @_;
	my $n = size(20_000, 200_000);

	declare_records($s, $n);
	my $got = alternate(map { my $table = $_; ($table => sub {
		my $result = measure($s, "SELECT name FROM api.$table WHERE id = $n / 2");
		$s->run("SELECT count(*) FROM api.$table WHERE id = $n / 2") == 1 or die "the record is not found\n";
		return $result;
	}) } qw(asked all));

	row('one record of ' . number($n) . ' by its key, which the API is asked for', unit => 'ms', against => 'reading all, 1,000 a page',
		ours => [ map { $_ * 1000 } @{ column($got->{asked}, 'wall') } ], base => [ map { $_ * 1000 } @{ column($got->{all}, 'wall') } ],
		reach => '≤ 0.1', ok => sub { $_[2] <= 0.1 });
};

figure api_compare => sub {
	my ($s) = @_;
	my $n = size(20_000, 200_000);

	declare_records($s, $n);
	# what people write to find the same by two sides only
	my $both = "SELECT count(*) FROM item i FULL JOIN api.all a USING (id) WHERE (i.name, i.mail, i.orders, i.spent, i.vip) IS DISTINCT FROM (a.name, a.mail, a.orders, a.spent, a.vip)";
	service()->call('PATCH', "/objects/item/$_", '{"name": "changed"}') for 1 .. 10;
	my $got = alternate(
		compare => sub {
			$s->run("SELECT count(*) FROM activate_compare('item')") == 10 or die "the changes are not found\n";
			return measure($s, "SELECT count(*) FROM activate_compare('item')");
		},
		join => sub {
			$s->run($both) == 10 or die "the changes are not found\n";
			return measure($s, $both);
		});

	row('CPU per record of ' . number($n) . ' that activate_compare reads, source and sent images included', unit => 'µs', against => 'FULL JOIN of source and foreign table',
		ours => per($got->{compare}, 'cpu', $n), base => per($got->{join}, 'cpu', $n));
	row('the same, on the clock', unit => 'ms', against => 'the same',
		ours => [ map { $_ * 1000 } @{ column($got->{compare}, 'wall') } ], base => [ map { $_ * 1000 } @{ column($got->{join}, 'wall') } ]);
};

1;
