# ActivateTest::Bucket: files by HTTP, and an object store that speaks S3 and believes no signature that it has not computed itself.
#
#	my $store = ActivateTest::Bucket->new($folder, $log, access_key => 'AK', secret_key => 'SK', page => 2);
#	$store->url;    # endpoint: objects of the bucket "b" are the files of $folder/b
#	                # GET /files/x: the file $folder/files/x, for anybody
#	ActivateTest::Bucket::asked($log)    # "list prefix=in/ token=2", "get b/in/x", "refused SignatureDoesNotMatch", ...
#
# What a file is called may be meant: *.cut breaks off in the middle, *.busy is 503 at first.
package ActivateTest::Bucket;

use strict;
use warnings;

use ActivateTest::Raw;
use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(hmac_sha256 hmac_sha256_hex sha256_hex);
use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $folder, $log, %options) = @_;

	return ActivateTest::Raw->new(
		sub {
			my ($socket, $head) = @_;
			my ($path, $query) = $head =~ m{^GET (/[^ ?]*)(?:\?(\S*))? HTTP} or return ActivateTest::Raw::reply($socket, '405 no', '');
			my $problem = $path =~ m{^/files/} ? undef : wrong_signature($head, $path, $query // '', %options);

			if ($problem)
			{
				append_to_file($log, "refused $problem\n");
				return ActivateTest::Raw::reply($socket, '403 no', "<?xml version=\"1.0\"?><Error><Code>$problem</Code></Error>");
			}
			return list($socket, $folder, $log, $path, $query, $options{page}) if defined $query && $query =~ /list-type=2/;
			return get($socket, $folder, $log, $head, decode(substr $path, 1));
		});
}

sub asked { my ($log) = @_; return -e $log ? split /\n/, slurp_file($log) : (); }

sub decode { my ($text) = @_; $text =~ s/%([0-9A-F]{2})/chr hex $1/ge; return $text; }

sub encode { my ($text) = @_; $text =~ s{([^A-Za-z0-9._~/-])}{sprintf '%%%02X', ord $1}ge; return $text; }

# By the book, from what arrived; undef: it is right.
sub wrong_signature
{
	my ($head, $path, $query, %options) = @_;
	my ($key, $day, $region, $names, $given) =
	  $head =~ m{^authorization: AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, SignedHeaders=(\S+), Signature=([0-9a-f]{64})\r?$}mi
	  or return 'AccessDenied';
	my $canonical = join "\n", 'GET', $path, join('&', sort split /&/, $query);

	return 'InvalidAccessKeyId' if $key ne $options{access_key};
	for my $name (split /;/, $names)
	{
		my ($value) = $head =~ /^\Q$name\E: *(.*?)\r?$/mi or return 'MissingHeader';
		$canonical .= "\n$name:$value";
	}
	for my $needed ('host', 'x-amz-date', 'x-amz-content-sha256', exists $options{session_token} ? 'x-amz-security-token' : ())
	{
		return 'NotSigned' unless grep { $_ eq $needed } split /;/, $names;
	}
	my ($stamp) = $head =~ /^x-amz-date: *(\d{8}T\d{6}Z)/mi;
	my ($hash)  = $head =~ /^x-amz-content-sha256: *(\S+)/mi;
	$canonical .= "\n\n$names\n$hash";
	return 'InvalidToken' if exists $options{session_token} && $head !~ /^x-amz-security-token: *\Q$options{session_token}\E\r?$/mi;
	return 'BadContentHash' if $hash ne sha256_hex('');
	my $secret = hmac_sha256('aws4_request', hmac_sha256('s3', hmac_sha256($region, hmac_sha256($day, "AWS4$options{secret_key}"))));
	my $expected = hmac_sha256_hex("AWS4-HMAC-SHA256\n$stamp\n$day/$region/s3/aws4_request\n" . sha256_hex($canonical), $secret);

	return $expected eq $given && $region eq ($options{region} // 'us-east-1') ? undef : 'SignatureDoesNotMatch';
}

sub tag { my ($file) = @_; return '"' . md5_hex(slurp_file($file)) . '"'; }

sub list
{
	my ($socket, $folder, $log, $path, $query, $page) = @_;
	my %asked = map { my ($name, $value) = split /=/, $_, 2; $name => decode($value) } split /&/, $query;
	my $bucket = "$folder$path";
	my @found  = sort grep { index($_, $asked{prefix}) == 0 } map { substr $_, length "$bucket/" } split /\n/, `find '$bucket' -type f`;
	my $from   = $asked{'continuation-token'} // 0;
	my $to     = $from + $page - 1;
	my $xml    = '<?xml version="1.0"?><ListBucketResult><Name>b</Name>';

	append_to_file($log, "list prefix=$asked{prefix}" . ($from ? " token=$from" : '') . "\n");
	$to = $#found if $to > $#found;
	for my $key (@found[ $from .. $to ])
	{
		my $etag = tag("$bucket/$key") =~ s/"/&quot;/gr;
		$xml .= '<Contents><Key>' . encode($key) . '</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>'
		  . "<ETag>$etag</ETag><Size>" . (-s "$bucket/$key") . '</Size></Contents>';
	}
	$xml .= '<IsTruncated>true</IsTruncated><NextContinuationToken>' . ($to + 1) . '</NextContinuationToken>' if $to < $#found;
	return ActivateTest::Raw::reply($socket, '200 OK', "$xml</ListBucketResult>");
}

sub get
{
	my ($socket, $folder, $log, $head, $name) = @_;
	my $file = "$folder/$name";

	append_to_file($log, "get $name\n");
	return ActivateTest::Raw::reply($socket, '404 no', '<Error><Code>NoSuchKey</Code></Error>') unless -f $file;
	if ($name =~ /\.busy$/ && !-e "$file.was")
	{
		append_to_file("$file.was", '');
		return ActivateTest::Raw::reply($socket, '503 slow down', '', 'Retry-After: 0');
	}
	my $tag = tag($file);
	my ($condition) = $head =~ /^if-match: *(.*?)\r?$/mi;
	return ActivateTest::Raw::reply($socket, '412 no', '') if defined $condition && $condition ne $tag;
	my $content = slurp_file($file);
	print $socket "HTTP/1.1 200 OK\r\nETag: $tag\r\nContent-Length: " . length($content) . "\r\nConnection: close\r\n\r\n";
	print $socket $name =~ /\.cut$/ ? substr($content, 0, length($content) / 2) : $content;
	return;
}

1;
